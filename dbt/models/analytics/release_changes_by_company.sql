select
    dataset,
    program_year,
    company_id,
    kind,
    release,
    previous_release,
    max(company_name) as company_name,
    count(*) as records,
    count(case when change_type = 'UNCHANGED' then 1 end) as flagged_unchanged_records,
    cast(coalesce(sum(amount_before), 0) as decimal(18, 2)) as amount_before,
    cast(coalesce(sum(amount_after), 0) as decimal(18, 2)) as amount_after,
    cast(sum(amount_moved) as decimal(18, 2)) as amount_moved,
    cast(sum(value_of_interest_before) as decimal(18, 2)) as value_of_interest_before,
    cast(sum(value_of_interest_after) as decimal(18, 2)) as value_of_interest_after,
    cast(sum(value_of_interest_moved) as decimal(18, 2)) as value_of_interest_moved
from {{ ref('stg_release_changes') }}
group by dataset, program_year, company_id, kind, release, previous_release
