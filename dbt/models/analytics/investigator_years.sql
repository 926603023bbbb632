with named_once as (

    -- An investigator can fill two slots of one record; the payment is associated once.
    select distinct
        dataset,
        program_year,
        profile_id,
        record_id,
        company_id,
        associated_amount,
        is_disputed
    from {{ ref('fct_investigator_payments') }}
    where {{ this_partition() }} and profile_id is not null

)

select
    dataset,
    program_year,
    profile_id,
    count(*) as records,
    count(distinct company_id) as companies,
    cast(sum(associated_amount) as decimal(18, 2)) as associated_amount,
    count(case when is_disputed then 1 end) as disputed_records,
    cast(
        sum(case when is_disputed then associated_amount else 0 end) as decimal(18, 2)
    ) as disputed_associated_amount
from named_once
group by dataset, program_year, profile_id
