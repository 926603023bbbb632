select
    dataset,
    program_year,
    recipient_key,
    case when recipient_key like 'physician:%' then substring(recipient_key, 11) end as profile_id,
    case when recipient_key like 'hospital:%' then substring(recipient_key, 10) end as hospital_id,
    count(*) as companies,
    {{ summed_measures() }}
from {{ ref('company_recipient_years') }}
where {{ this_partition() }}
group by dataset, program_year, recipient_key
