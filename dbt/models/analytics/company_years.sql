select
    dataset,
    program_year,
    company_id,
    count(case when {{ is_a_recipient() }} then 1 end) as recipients,
    {{ summed_measures() }}
from {{ ref('company_recipient_years') }}
where {{ this_partition() }}
group by dataset, program_year, company_id
