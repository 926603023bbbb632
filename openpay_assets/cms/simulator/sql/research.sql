-- The draws of one chunk of research records. About a fifth of real research rows repeat another
-- row in everything but the record id: here some rows take their content from the first of their
-- block of four.
CREATE OR REPLACE TEMP TABLE chunk AS
WITH numbered AS (
    SELECT
        t.n, d.damage, coalesce(d.id_of, t.n) AS id_number,
        getvariable('first_record') + CASE
            WHEN chance(267000, getvariable('first_record') + t.n, 'twin') THEN t.n - t.n % 4
            ELSE t.n END AS record,
        d.recipient AS asked_recipient, d.bundle AS asked_bundle,
        d.investigators AS asked_investigators, d.cents AS asked_cents
    FROM range(getvariable('from_row'), getvariable('to_row')) t(n)
    LEFT JOIN plan d ON d.n = t.n
),
drawn AS (
    SELECT
        n.*,
        amount_step(below(1000000, record, 'amount step')) AS step,
        coalesce(
            asked_recipient,
            CASE WHEN chance(550000, record, 'recipient') THEN 'entity'
                 WHEN chance(920000, record, 'recipient') THEN 'hospital'
                 WHEN getvariable('has_practitioners') AND chance(925000, record, 'recipient') THEN 'practitioner'
                 ELSE 'physician' END
        ) AS recipient_kind,
        coalesce(
            asked_investigators,
            CASE WHEN chance(40000, record, 'investigators') THEN 0
                 WHEN chance(860000, record, 'investigators') THEN 1
                 WHEN chance(930000, record, 'investigators') THEN 2
                 WHEN chance(965000, record, 'investigators') THEN 3
                 WHEN chance(985000, record, 'investigators') THEN 4
                 ELSE 5 END
        ) AS investigators,
        uneven(getvariable('physicians'), record, 'investigator') AS investigator,
        getvariable('has_practitioners') AND chance(60000, record, 'practitioner assists') AS has_practitioner
    FROM numbered n
)
SELECT
    d.n, d.damage, d.record, d.recipient_kind,
    getvariable('first_id') + d.id_number * 3 + below(3, d.id_number, 'record id') AS record_id,
    CASE d.recipient_kind
        WHEN 'entity' THEN 3000000000 + uneven(getvariable('sites'), record, 'which site')
        WHEN 'hospital' THEN 2000000000 + uneven(getvariable('hospitals'), record, 'which hospital')
        WHEN 'practitioner' THEN 1000000000 + uneven(getvariable('practitioners'), record, 'which practitioner')
        ELSE uneven(getvariable('physicians'), record, 'which physician') END AS recipient,
    CASE WHEN investigators >= 1 THEN investigator END AS investigator_1,
    CASE WHEN investigators < 2 THEN NULL
         WHEN has_practitioner THEN 1000000000 + investigator % getvariable('practitioners')
         ELSE (investigator + 2) % getvariable('physicians') END AS investigator_2,
    CASE WHEN investigators >= 3 THEN (investigator + 3) % getvariable('physicians') END AS investigator_3,
    CASE WHEN investigators >= 4 THEN (investigator + 4) % getvariable('physicians') END AS investigator_4,
    CASE WHEN investigators >= 5 THEN (investigator + 5) % getvariable('physicians') END AS investigator_5,
    s.study,
    coalesce(d.asked_bundle, s.bundle) AS bundle,
    coalesce(d.asked_cents, amount_between(a.low, a.high, d.step, below(1000000, record, 'amount') / 1000000)) AS cents,
    0::BIGINT AS interest_cents,
    getvariable('first_day') + below(getvariable('days'), record, 'day')::INTEGER AS day,
    CASE WHEN chance(220000, record, 'form') THEN 'In-kind items and services'
         WHEN chance(221000, record, 'form') THEN 'Dividend, profit or other return on investment'
         ELSE 'Cash or cash equivalent' END AS form,
    CASE WHEN chance(70000, record, 'categories') THEN below(6, record, 'category') END AS category,
    1 + below(3, record, 'how many categories') AS categories,
    CASE WHEN chance(90000, record, 'context') THEN below(len(getvariable('research_context')), record, 'which context') END AS context
FROM drawn d
JOIN studies s ON s.study = very_uneven(getvariable('studies'), record, 'study')
JOIN amount_steps a ON a.kind = 0 AND a.step = d.step;
