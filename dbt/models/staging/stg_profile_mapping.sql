select
    secondary_profile_id,
    resolved_primary
from {{ source('curated', 'profile_mapping') }}
