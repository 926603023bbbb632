with totals as (

    -- Teaching hospitals and other organizations have no specialty; addresses abroad no state.
    select
        dataset,
        program_year,
        coalesce(specialty, 'Unspecified') as specialty,
        coalesce(state, 'Unspecified') as state,
        {{ record_measures() }}
    from {{ ref('fct_payments') }}
    where {{ this_partition() }}
    group by
        dataset,
        program_year,
        coalesce(specialty, 'Unspecified'),
        coalesce(state, 'Unspecified')

)

select
    dataset,
    program_year,
    specialty,
    state,

    -- levels of the provider taxonomy
    split_part(specialty, '|', 1) as specialty_grouping,
    nullif(split_part(specialty, '|', 2), '') as specialty_classification,
    nullif(split_part(specialty, '|', 3), '') as specialty_specialization,

    -- measures
    records,
    amount,
    value_of_interest,
    disputed_records,
    disputed_amount,
    disputed_value_of_interest
from totals
