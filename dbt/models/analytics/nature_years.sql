with by_company as (

    -- Research and ownership have no nature of payment.
    select
        dataset,
        program_year,
        coalesce(nature_of_payment, 'Unspecified') as nature_of_payment,
        company_id,
        {{ record_measures() }},
        sum(number_of_payments) as number_of_payments
    from {{ ref('fct_payments') }}
    where {{ this_partition() }} and dataset = 'general'
    group by dataset, program_year, coalesce(nature_of_payment, 'Unspecified'), company_id

)

select
    dataset,
    program_year,
    nature_of_payment,
    count(*) as companies,
    cast(sum(records) as bigint) as records,
    cast(sum(number_of_payments) as bigint) as number_of_payments,
    cast(sum(amount) as decimal(18, 2)) as amount,
    cast(sum(disputed_records) as bigint) as disputed_records,
    cast(sum(disputed_amount) as decimal(18, 2)) as disputed_amount
from by_company
group by dataset, program_year, nature_of_payment
