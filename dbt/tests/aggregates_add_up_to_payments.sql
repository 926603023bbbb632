{{ config(meta={'dagster': {'ref': {'name': 'company_years'}}}) }}
-- Nothing is lost or counted twice between the records and the totals.
{% set marts = [
    'company_recipient_years', 'company_years', 'recipient_years', 'specialty_state_years'
] %}
with totals as (

    {% for mart in marts %}
        select
            '{{ mart }}' as mart,
            coalesce(sum(records), 0) as records,
            coalesce(sum(amount), 0) as amount,
            coalesce(sum(value_of_interest), 0) as value_of_interest
        from {{ ref(mart) }}
        where {{ this_partition() }}
        {{ 'union all' if not loop.last }}
    {% endfor %}

),

payments as (

    select
        count(*) as records,
        coalesce(sum(amount), 0) as amount,
        coalesce(sum(value_of_interest), 0) as value_of_interest
    from {{ ref('fct_payments') }}
    where {{ this_partition() }}

)

select totals.*
from totals
cross join payments
where
    totals.records != payments.records
    or totals.amount != payments.amount
    or totals.value_of_interest != payments.value_of_interest
