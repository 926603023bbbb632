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

)

select
    physicians.profile_id,

    -- clinician, as of the latest partition
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
