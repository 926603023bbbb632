select
    -- keys
    dataset,
    program_year,
    record_id,
    slot,
    profile_id,
    company_id,
    recipient_key,

    -- investigator as reported
    recipient_type,
    primary_type,
    specialty,
    state,
    country,

    -- measures
    associated_amount
from {{ source('curated', 'investigators') }}
where {{ this_partition() }}
