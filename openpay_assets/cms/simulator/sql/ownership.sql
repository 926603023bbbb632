-- The draws of one chunk of ownership records. Many interests were acquired in earlier years:
-- nothing was invested, yet they have a value.
CREATE OR REPLACE TEMP TABLE chunk AS
WITH drawn AS (
    SELECT
        t.n, d.damage, coalesce(d.id_of, t.n) AS id_number,
        getvariable('first_record') + t.n AS record,
        d.cents AS asked_cents, d.interest_cents AS asked_interest,
        amount_step(below(1000000, record, 'invested step')) AS invested_step,
        amount_step(below(1000000, record, 'value step')) AS value_step
    FROM range(getvariable('from_row'), getvariable('to_row')) t(n)
    LEFT JOIN plan d ON d.n = t.n
)
SELECT
    d.n, d.damage, d.record, 'physician' AS recipient_kind,
    getvariable('first_id') + d.id_number * 3 + below(3, d.id_number, 'record id') AS record_id,
    uneven(getvariable('physicians'), record, 'which physician') AS recipient,
    very_uneven(getvariable('companies'), record, 'company') * 32 + below(32, record, 'company name') AS bundle,
    coalesce(
        d.asked_cents,
        CASE WHEN chance(400000, record, 'nothing invested') THEN 0
             ELSE amount_between(i.low, i.high, d.invested_step, below(1000000, record, 'invested') / 1000000) END
    ) AS cents,
    coalesce(d.asked_interest, amount_between(v.low, v.high, d.value_step, below(1000000, record, 'value') / 1000000)) AS interest_cents,
    CASE WHEN chance(80000, record, 'family') THEN 'Immediate family member' ELSE 'Physician Covered Recipient' END AS holder,
    CASE WHEN NOT chance(20000, record, 'no terms') THEN below(len(getvariable('terms')), record, 'terms') END AS context
FROM drawn d
JOIN amount_steps i ON i.kind = 0 AND i.step = d.invested_step
JOIN amount_steps v ON v.kind = 1 AND v.step = d.value_step;
