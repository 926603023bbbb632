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

    {{ each_element(
        ref('stg_companies'), ['company_id', 'program_year'], 'company_names', 'company_name'
    ) }}

),

name_years as (

    select distinct
        company_id,
        company_name,
        cast(program_year as varchar) as program_year
    from names

),

named_years as (

    select
        company_id,
        company_name,
        company_name || ' (' || {{ joined('program_year', ', ') }} || ')' as name_years
    from name_years
    group by company_id, company_name

),

listed_names as (

    select
        company_id,
        {{ joined('company_name') }} as reported_names,
        {{ joined('name_years') }} as reported_name_years,
        count(*) as reported_name_count
    from named_years
    group by company_id

),

entity_profiles as (

    select * from {{ ref('stg_entity_profiles') }}

)

select
    companies.company_id,

    -- company, as in its profile
    coalesce(entity_profiles.company_name, companies.company_name) as canonical_name,
    entity_profiles.alternate_names,

    -- company as reported, as of the latest partition
    companies.company_name,
    companies.company_state,
    companies.company_country,

    -- names over all partitions
    listed_names.reported_names,
    listed_names.reported_name_years,
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
left join entity_profiles on companies.company_id = entity_profiles.company_id
