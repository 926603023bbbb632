select
    dataset,
    program_year,
    company_id,
    recipient_key,
    {{ record_measures() }}
from {{ ref('fct_payments') }}
where {{ this_partition() }}
group by dataset, program_year, company_id, recipient_key
