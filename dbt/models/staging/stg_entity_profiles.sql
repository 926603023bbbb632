select
    company_id,
    company_name,
    alternate_names
from {{ source('curated', 'entity_profiles') }}
