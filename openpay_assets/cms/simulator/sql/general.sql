-- The draws of one chunk of general records: keys of what a row is about, and its amount. What
-- the plan of dirty rows demands of a row goes before what would have been drawn.
CREATE OR REPLACE TEMP TABLE chunk AS
WITH numbered AS (
    SELECT
        t.n, d.damage, coalesce(d.id_of, t.n) AS id_number,
        getvariable('first_record') + t.n AS record,
        d.recipient AS asked_recipient, d.bundle AS asked_bundle, d.kind AS asked_kind, d.cents AS asked_cents
    FROM range(getvariable('from_row'), getvariable('to_row')) t(n)
    LEFT JOIN plan d ON d.n = t.n
),
sized AS (
    SELECT
        n.*, c.kind AS drawn_kind,
        amount_step(below(1000000, record, 'amount step')) AS step,
        very_uneven(getvariable('companies'), record, 'company') * 32 + below(32, record, 'products') AS drawn_bundle
    FROM numbered n
    JOIN kind_cells c ON c.cell = below(getvariable('nature_cells'), record, 'nature')
),
natured AS (
    SELECT
        s.*, k.* EXCLUDE (first_cell, cells),
        coalesce(
            s.asked_recipient,
            CASE WHEN chance(k.hospital_percent * 10000, record, 'hospital') THEN 'hospital'
                 WHEN getvariable('has_practitioners') AND chance(k.practitioner_percent * 10000, record, 'practitioner')
                     THEN 'practitioner'
                 ELSE 'physician' END
        ) AS recipient_kind,
        k.name = 'Travel and Lodging' AS is_travel
    FROM sized s
    JOIN kinds k ON k.kind = coalesce(s.asked_kind, s.drawn_kind)
)
SELECT
    t.n, t.damage, t.record, t.recipient_kind, t.name AS nature,
    getvariable('first_id') + t.id_number * 3 + below(3, t.id_number, 'record id') AS record_id,
    CASE t.recipient_kind
        WHEN 'hospital' THEN 2000000000 + uneven(getvariable('hospitals'), record, 'which hospital')
        WHEN 'practitioner' THEN 1000000000 + uneven(getvariable('practitioners'), record, 'which practitioner')
        ELSE uneven(getvariable('physicians'), record, 'which physician') END AS recipient,
    coalesce(t.asked_bundle, t.drawn_bundle) AS bundle,
    coalesce(t.asked_cents, amount_between(a.low, a.high, t.step, below(1000000, record, 'amount') / 1000000)) AS cents,
    0::BIGINT AS interest_cents,
    getvariable('first_day') + below(getvariable('days'), record, 'day')::INTEGER AS day,
    CASE WHEN chance(30000, record, 'several payments') THEN 2 + below(11, record, 'payments') ELSE 1 END AS payments,
    CASE WHEN chance(t.in_kind_percent * 10000, record, 'form') THEN 'In-kind items and services'
         WHEN chance((t.in_kind_percent + t.equity_percent) * 10000, record, 'form')
             THEN pick('equity_forms', record, 'which form')
         ELSE 'Cash or cash equivalent' END AS form,
    CASE WHEN t.is_travel THEN below(500, record, 'trip') END AS trip,
    CASE WHEN chance(15000, record, 'third party') THEN below(200, record, 'which third party') END AS third_party,
    CASE WHEN chance(40000, record, 'context') THEN below(len(getvariable('context')), record, 'which context') END AS context
FROM natured t
JOIN amount_steps a ON a.kind = t.kind AND a.step = t.step;
