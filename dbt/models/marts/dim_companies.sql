with companies as (

    select * from {{ ref('stg_companies') }}

),

identifiers as (

    select
        company_id,
        max(recency) as latest,
        {{ datasets_seen() }} as datasets,
        min(program_year) as first_program_year,
        max(program_year) as last_program_year
    from {{ ref('stg_companies') }}
    group by company_id

),

-- One identifier has several names over the years, and even two casings in one year.
names as (

    select distinct
        company_id,
        company_name
    from companies
    where company_name is not null

),

listed_names as (

    select
        company_id,
        {{ joined('company_name') }} as reported_names,
        count(*) as reported_name_count
    from names
    group by company_id

)

select
    companies.company_id,

    -- company, as of the latest partition
    companies.company_name,
    companies.company_state,
    companies.company_country,

    -- names over all partitions
    listed_names.reported_names,
    coalesce(listed_names.reported_name_count, 0) as reported_name_count,

    -- when and where
    companies.last_seen_on,
    identifiers.datasets,
    identifiers.first_program_year,
    identifiers.last_program_year
from companies
inner join identifiers
    on
        companies.company_id = identifiers.company_id
        and companies.recency = identifiers.latest
left join listed_names on companies.company_id = listed_names.company_id
