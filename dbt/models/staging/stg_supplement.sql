select
    profile_id,
    profile_type,
    npi,
    first_name,
    middle_name,
    last_name,
    name_suffix,
    city,
    state,
    zip_code,
    country,
    specialty,
    release
from {{ source('curated', 'supplement') }}
