with products as (

    select
        *,
        {{ normal_product_name('product_name') }} as normal_name
    from {{ ref('stg_payment_products') }}

),

-- Disputes are rare, so the join builds on a handful of records.
disputed as (

    select record_id
    from {{ ref('stg_payments') }}
    where is_disputed

)

select
    -- keys
    products.dataset,
    products.program_year,
    products.record_id,
    products.slot,
    products.company_id,
    products.recipient_key,

    -- product
    case
        when products.is_named and products.normal_name != '' then products.normal_name
        else 'UNSPECIFIED'
    end as product,
    products.product_name,
    products.is_named,
    products.product_kind,
    products.is_covered,
    products.product_category,
    products.ndc_11,
    products.pdi,

    -- measures
    products.weight,
    products.allocated_amount,

    -- payment
    disputed.record_id is not null as is_disputed
from products
left join disputed on products.record_id = disputed.record_id
