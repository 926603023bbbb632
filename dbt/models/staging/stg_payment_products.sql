select
    -- keys
    dataset,
    program_year,
    record_id,
    slot,
    company_id,
    recipient_key,

    -- product
    product_name,
    is_named,
    product_kind,
    is_covered,
    product_category,
    ndc_11,
    pdi,

    -- measures
    weight,
    allocated_amount
from {{ source('curated', 'payment_products') }}
where {{ this_partition() }}
