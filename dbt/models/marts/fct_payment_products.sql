-- On DuckDB a view: it selects columns of one curated table, which would only be written again.
{{ config(materialized='lake_view' if target.type == 'duckdb' else 'incremental') }}
with products as (

    select
        *,
        {{ normal_product_name('product_name') }} as normal_name
    from {{ source('curated', 'payment_products') }}
    {{ 'where ' ~ this_partition() if target.type != 'duckdb' }}

)

select
    -- keys
    dataset,
    program_year,
    record_id,
    slot,
    company_id,
    recipient_key,

    -- product
    case
        when is_named and normal_name != '' then normal_name
        else 'UNSPECIFIED'
    end as product,
    product_name,
    is_named,
    product_kind,
    is_covered,
    product_category,
    ndc_11,
    pdi,

    -- measures
    weight,
    allocated_amount,

    -- payment
    coalesce(is_disputed, false) as is_disputed
from products
