select
    -- keys
    dataset,
    program_year,
    profile_id,

    -- clinician
    npi,
    first_name,
    middle_name,
    last_name,
    name_suffix,
    recipient_type,
    primary_type,
    specialty,
    city,
    state,
    zip_code,
    country,

    -- when
    last_seen_on,
    {{ recency() }} as recency
from {{ source('curated', 'physicians') }}
