with hospitals as (

    select * from {{ ref('stg_hospitals') }}

),

identifiers as (

    select
        hospital_id,
        max(recency) as latest,
        {{ datasets_seen() }} as datasets,
        min(program_year) as first_program_year,
        max(program_year) as last_program_year
    from {{ ref('stg_hospitals') }}
    group by hospital_id

)

select
    hospitals.hospital_id,

    -- hospital, as of the latest partition
    hospitals.hospital_ccn,
    hospitals.hospital_name,
    hospitals.city,
    hospitals.state,
    hospitals.zip_code,
    hospitals.country,

    -- when and where
    hospitals.last_seen_on,
    identifiers.datasets,
    identifiers.first_program_year,
    identifiers.last_program_year
from hospitals
inner join identifiers
    on
        hospitals.hospital_id = identifiers.hospital_id
        and hospitals.recency = identifiers.latest
