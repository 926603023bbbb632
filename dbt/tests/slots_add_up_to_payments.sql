{{ config(meta={'dagster': {'ref': {'name': 'fct_payment_products'}}}) }}
-- Product slots give back the dollars of the payments that name products, and every record has as
-- many slots of products and investigators as it says.
with payments as (

    select
        coalesce(sum(product_count), 0) as product_slots,
        coalesce(sum(case when product_count > 0 then amount end), 0) as product_amount,
        coalesce(sum(investigator_count), 0) as investigator_slots,
        coalesce(sum(amount * investigator_count), 0) as associated_amount
    from {{ ref('fct_payments') }}
    where {{ this_partition() }}

),

products as (

    select
        count(*) as product_slots,
        coalesce(sum(allocated_amount), 0) as product_amount
    from {{ ref('fct_payment_products') }}
    where {{ this_partition() }}

),

investigators as (

    select
        count(*) as investigator_slots,
        coalesce(sum(associated_amount), 0) as associated_amount
    from {{ ref('fct_investigator_payments') }}
    where {{ this_partition() }}

)

select
    payments.*,
    products.product_slots as slots_of_products,
    products.product_amount as amount_of_products,
    investigators.investigator_slots as slots_of_investigators,
    investigators.associated_amount as amount_of_investigators
from payments
cross join products
cross join investigators
where
    payments.product_slots != products.product_slots
    or payments.product_amount != products.product_amount
    or payments.investigator_slots != investigators.investigator_slots
    or payments.associated_amount != investigators.associated_amount
