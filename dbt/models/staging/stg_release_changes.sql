select
    -- keys
    dataset,
    program_year,
    record_id,

    -- what happened
    kind,
    change_type,
    quarantined_in,

    -- measures
    amount_before,
    amount_after,
    amount_moved,
    value_of_interest_before,
    value_of_interest_after,
    value_of_interest_moved,

    -- who
    company_id,
    company_name,
    recipient_key,

    -- publication
    release,
    previous_release
from {{ source('curated', 'release_changes') }}
where {{ this_partition() }}
