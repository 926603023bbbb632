with pairs as (

    select
        dataset,
        program_year,
        company_id,
        recipient_key,
        records,
        amount,
        value_of_interest,
        disputed_records,
        disputed_amount,
        disputed_value_of_interest,
        min(program_year) over (
            partition by dataset, company_id, recipient_key
        ) as first_program_year
    from {{ ref('company_recipient_years') }}
    where {{ is_a_recipient() }}

)

select
    *,
    program_year = first_program_year as is_first_year
from pairs
