with physicians as (

    select * from {{ ref('stg_physicians') }}

),

profiles as (

    select
        profile_id,
        max(recency) as latest,
        -- Ownership reports no recipient type, so the latest row that has one decides: the last
        -- digit carries the type along with its recency.
        mod(
            max(
                case recipient_type
                    when 'physician' then recency * 10 + 1
                    when 'non_physician_practitioner' then recency * 10 + 2
                end
            ), 10
        ) as latest_type,
        {{ datasets_seen() }} as datasets,
        min(program_year) as first_program_year,
        max(program_year) as last_program_year
    from {{ ref('stg_physicians') }}
    group by profile_id

),

-- A few clinicians have several profiles; chains of them end at the primary one.
primaries as (

    select
        profiles.profile_id,
        coalesce(mapped.resolved_primary, profiles.profile_id) as primary_profile_id
    from profiles
    left join {{ ref('stg_profile_mapping') }} as mapped
        on profiles.profile_id = mapped.secondary_profile_id

),

supplement as (

    select * from {{ ref('stg_supplement') }}

),

-- The profile of the primary id; its own where CMS lists that one alone.
profiled as (

    select
        primaries.profile_id,
        coalesce(of_primary.profile_id, own.profile_id) as supplement_profile_id
    from primaries
    left join supplement as of_primary on primaries.primary_profile_id = of_primary.profile_id
    left join supplement as own on primaries.profile_id = own.profile_id

)

select
    physicians.profile_id,
    primaries.primary_profile_id,

    -- clinician as reported, as of the latest partition
    physicians.npi,
    physicians.first_name,
    physicians.middle_name,
    physicians.last_name,
    physicians.name_suffix,
    case profiles.latest_type
        when 1 then 'physician'
        when 2 then 'non_physician_practitioner'
    end as recipient_type,
    physicians.primary_type,
    physicians.specialty,
    physicians.city,
    physicians.state,
    physicians.zip_code,
    physicians.country,

    -- clinician as in the latest profile
    supplement.profile_id is not null as in_supplement,
    supplement.profile_type as supplement_type,
    supplement.npi as supplement_npi,
    supplement.first_name as supplement_first_name,
    supplement.middle_name as supplement_middle_name,
    supplement.last_name as supplement_last_name,
    supplement.name_suffix as supplement_name_suffix,
    supplement.specialty as supplement_specialty,
    supplement.city as supplement_city,
    supplement.state as supplement_state,
    supplement.zip_code as supplement_zip_code,
    supplement.country as supplement_country,
    supplement.release as supplement_release,

    -- when and where
    physicians.last_seen_on,
    profiles.datasets,
    profiles.first_program_year,
    profiles.last_program_year
from physicians
inner join profiles
    on
        physicians.profile_id = profiles.profile_id
        and physicians.recency = profiles.latest
inner join primaries on physicians.profile_id = primaries.profile_id
inner join profiled on physicians.profile_id = profiled.profile_id
left join supplement on profiled.supplement_profile_id = supplement.profile_id
