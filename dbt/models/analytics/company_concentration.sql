with pairs as (

    select
        dataset,
        program_year,
        company_id,
        amount,
        row_number() over (
            partition by dataset, program_year, company_id order by amount desc
        ) as amount_rank
    from {{ ref('company_recipient_years') }}
    where {{ this_partition() }} and {{ is_a_recipient() }}

),

totals as (

    -- Squares stay decimals as long as possible: a sum of doubles depends on its order, and shares
    -- could exceed 1. The cast makes room: 18 digits overflow from 30 million dollars on.
    select
        dataset,
        program_year,
        company_id,
        count(case when {{ is_a_recipient() }} then 1 end) as recipients,
        cast(sum(amount) as decimal(18, 2)) as amount,
        sum(
            case when {{ is_a_recipient() }} then cast(amount as decimal(19, 2)) * amount else 0 end
        ) as sum_of_squares
    from {{ ref('company_recipient_years') }}
    where {{ this_partition() }}
    group by dataset, program_year, company_id

),

top_recipients as (

    select
        company_id,
        cast(sum(amount) as decimal(18, 2)) as top_10_amount
    from pairs
    where amount_rank <= 10
    group by company_id

)

select
    totals.dataset,
    totals.program_year,
    totals.company_id,
    totals.recipients,
    totals.amount,
    coalesce(top_recipients.top_10_amount, 0) as top_10_amount,
    cast(coalesce(top_recipients.top_10_amount, 0) as double precision)
    / nullif(cast(totals.amount as double precision), 0) as top_10_share,
    cast(totals.sum_of_squares as double precision)
    / nullif(
        cast(cast(totals.amount as decimal(19, 2)) * totals.amount as double precision), 0
    ) as hhi
from totals
left join top_recipients on totals.company_id = top_recipients.company_id
