select
    -- keys
    dataset,
    program_year,
    hospital_id,

    -- hospital
    hospital_ccn,
    hospital_name,
    city,
    state,
    zip_code,
    country,

    -- when
    last_seen_on,
    {{ recency() }} as recency
from {{ source('curated', 'hospitals') }}
