-- On DuckDB a view: it selects columns of one curated table, which would only be written again.
{{ config(materialized='lake_view' if target.type == 'duckdb' else 'incremental') }}
select
    -- keys
    dataset,
    program_year,
    record_id,
    company_id,
    recipient_key,
    profile_id,
    hospital_id,

    -- recipient as reported
    recipient_type,
    primary_type,
    specialty,
    state,
    country,

    -- measures
    amount,
    value_of_interest,
    number_of_payments,
    product_count,
    investigator_count,

    -- payment
    date_of_payment,
    form_of_payment,
    nature_of_payment,
    third_party_recipient,
    physician_ownership,
    related_product,
    clinicaltrials_id,
    is_preclinical,
    interest_holder,
    is_disputed,

    -- publication
    change_type,
    release
from {{ source('curated', 'payments') }}
{{ 'where ' ~ this_partition() if target.type != 'duckdb' }}
