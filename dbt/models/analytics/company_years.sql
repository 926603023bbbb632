select
    dataset,
    program_year,
    company_id,
    count(*) as recipients,
    {{ summed_measures() }}
from {{ ref('company_recipient_years') }}
where {{ this_partition() }}
group by dataset, program_year, company_id
