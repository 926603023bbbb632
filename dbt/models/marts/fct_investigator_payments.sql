with investigators as (

    select * from {{ ref('stg_investigators') }}

),

disputed as (

    select record_id
    from {{ ref('stg_payments') }}
    where is_disputed

)

select
    -- keys
    investigators.dataset,
    investigators.program_year,
    investigators.record_id,
    investigators.slot,
    investigators.profile_id,
    investigators.company_id,
    investigators.recipient_key,

    -- investigator as reported
    investigators.recipient_type,
    investigators.primary_type,
    investigators.specialty,
    investigators.state,
    investigators.country,

    -- measures
    investigators.associated_amount,

    -- payment
    disputed.record_id is not null as is_disputed
from investigators
left join disputed on investigators.record_id = disputed.record_id
