with by_company as (

    -- A record has one company, so records counted by company add up. A product can fill two slots
    -- of one record: only records with several slots need the distinct count, and most have one.
    select
        dataset,
        program_year,
        product,
        company_id,
        count(case when weight = 1 then 1 end)
        + count(distinct case when weight < 1 then record_id end) as records,
        sum(allocated_amount) as allocated_amount,
        count(
            distinct case when is_disputed then record_id end
        ) as disputed_records,
        sum(case when is_disputed then allocated_amount else 0 end) as disputed_allocated_amount
    from {{ ref('fct_payment_products') }}
    where {{ this_partition() }}
    group by dataset, program_year, product, company_id

)

select
    dataset,
    program_year,
    product,
    count(*) as companies,
    cast(sum(records) as bigint) as records,
    cast(sum(allocated_amount) as decimal(18, 2)) as allocated_amount,
    cast(sum(disputed_records) as bigint) as disputed_records,
    cast(sum(disputed_allocated_amount) as decimal(18, 2)) as disputed_allocated_amount
from by_company
group by dataset, program_year, product
