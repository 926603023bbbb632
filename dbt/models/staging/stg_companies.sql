select
    -- keys
    dataset,
    program_year,
    company_id,

    -- company
    company_name,
    company_names,
    company_state,
    company_country,

    -- when
    last_seen_on,
    {{ recency() }} as recency
from {{ source('curated', 'companies') }}
