-- Which rows are dirty: one row per dirty row. Row k lies somewhere in the k-th of as many equal
-- stretches of the file as there are dirty rows.
CREATE OR REPLACE TEMP TABLE plan AS
WITH choices AS (
    SELECT
        CASE WHEN size = 0 THEN 'none'
             WHEN legacy_ndc_of_associated_covered_drug_or_biological_1 IS NOT NULL THEN 'drug'
             ELSE 'device' END AS products,
        key AS bundle
    FROM bundles
    WHERE size = 0 OR size = 1 AND (
        legacy_ndc_of_associated_covered_drug_or_biological_1 IS NOT NULL
        OR legacy_name_of_associated_covered_device_or_medical_supply_1 IS NOT NULL
    )
),
numbered_choices AS (
    SELECT products, bundle, row_number() OVER (PARTITION BY products ORDER BY bundle) - 1 AS choice FROM choices
),
offers AS (
    SELECT products, count(*) AS offered FROM choices GROUP BY products
),
spread AS (
    SELECT
        k, k * getvariable('rows') // getvariable('dirty') AS first_row,
        (k + 1) * getvariable('rows') // getvariable('dirty') AS next_row
    FROM range(getvariable('dirty')) t(k)
),
placed AS (
    SELECT
        k, first_row + below(next_row - first_row, getvariable('first_record') + k, 'dirty row') AS n,
        t.damages[1 + (k // getvariable('turns')) % len(t.damages)] AS damage
    FROM spread
    JOIN (SELECT turn, list(damage ORDER BY damage) AS damages FROM turns GROUP BY turn) t
        ON t.turn = k % getvariable('turns')
)
SELECT
    p.n, p.damage,
    CASE WHEN d.repeats_id THEN lag(p.n) OVER (ORDER BY p.k) ELSE p.n END AS id_of,
    d.recipient, k.kind, d.investigators, d.cents, d.interest_cents, c.bundle
FROM placed p
JOIN damages d USING (damage)
LEFT JOIN offers o ON o.products = d.products
LEFT JOIN numbered_choices c
    ON c.products = d.products
    AND c.choice = below(o.offered, getvariable('first_record') + p.n, 'asked products')
LEFT JOIN kinds k ON k.name = d.nature;
