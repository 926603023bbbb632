-- Who and what the records are about. Each entity is a function of the seed and its number, so
-- it is the same in every dataset, program year and size of simulation; the counts only say how
-- many of them exist. Recipients are numbered by kind: physicians from 0, non-physician
-- practitioners from 1,000,000,000, teaching hospitals from 2,000,000,000 and research sites,
-- which are not covered recipients, from 3,000,000,000.

CREATE MACRO us_zip(zip3, number) AS
    zip3 || digits(2, number, 'zip')
    || CASE WHEN chance(300000, number, 'has zip+4') THEN '-' || digits(4, number, 'zip+4') ELSE '' END;

CREATE MACRO street_address(number) AS
    (1 + below(9800, number, 'house')) || ' ' || pick('street', number, 'street')
    || ' ' || pick('street_kind', number, 'street kind');

CREATE MACRO address_line2(number) AS CASE WHEN chance(350000, number, 'has line 2')
    THEN replace(pick('address_line2', number, 'line 2'), '{}', (1 + below(940, number, 'line 2 number'))::VARCHAR)
END;

CREATE MACRO surname(number, purpose) AS
    pick('surname_stem', number, purpose || ' stem') || pick('surname_end', number, purpose || ' end');

CREATE MACRO in_capitals(text, number) AS
    CASE WHEN chance(450000, number, 'capitals') THEN upper(text) ELSE text END;

-- The check digit of an NPI: Luhn over 80840 (which adds 24), a leading 2 (which adds 4) and the
-- eight digits of the body.
CREATE MACRO doubled(digit) AS CASE WHEN digit > 4 THEN digit * 2 - 9 ELSE digit * 2 END;
CREATE MACRO npi_check_digit(body) AS (10 - (28
    + (body // 10000000) % 10 + doubled((body // 1000000) % 10)
    + (body // 100000) % 10 + doubled((body // 10000) % 10)
    + (body // 1000) % 10 + doubled((body // 100) % 10)
    + (body // 10) % 10 + doubled(body % 10)) % 10) % 10;

-- Clinicians. NPPES has issued only NPIs that start with 1; a leading 2 is as valid and belongs
-- to nobody. Multiplying by a number prime to the modulus keeps serial numbers distinct.
CREATE TABLE clinicians AS
WITH numbered AS (
    SELECT i AS key, i AS serial, 'physician' AS kind FROM range(getvariable('physicians')) t(i)
    UNION ALL
    SELECT 1000000000 + i, 5000000 + i, 'practitioner' FROM range(getvariable('practitioners')) t(i)
),
drawn AS (
    SELECT
        key, kind,
        (serial * 48271 + below(100000000, 0, 'first npi')) % 100000000 AS npi_body,
        100000 + (serial * 611953 + below(10000000, 0, 'first profile')) % 10000000 AS profile_id,
        chance(500, key, 'abroad') AS is_abroad,
        below(getvariable('cities'), key, 'city') AS city_key,
        below(getvariable('places_abroad'), key, 'place') AS place_key,
        below(CASE kind WHEN 'physician' THEN getvariable('physician_specialties')
              ELSE getvariable('practitioner_specialties') END, key, 'specialty') AS specialty_key
    FROM numbered
)
SELECT
    d.key,
    d.kind,
    d.profile_id::VARCHAR AS profile_id,
    CASE WHEN chance(3000, d.key, 'no npi') THEN NULL
         ELSE '2' || lpad(d.npi_body::VARCHAR, 8, '0') || npi_check_digit(d.npi_body) END AS npi,
    in_capitals(pick('first_name', d.key, 'first name'), d.key) AS first_name,
    CASE WHEN chance(550000, d.key, 'middle name') THEN chr((65 + below(26, d.key, 'initial'))::INTEGER)
         WHEN chance(700000, d.key, 'middle name')
             THEN in_capitals(pick('first_name', d.key, 'second name'), d.key) END AS middle_name,
    in_capitals(surname(d.key, 'surname'), d.key) AS last_name,
    CASE WHEN chance(30000, d.key, 'suffix') THEN pick('name_suffix', d.key, 'which suffix') END AS name_suffix,
    street_address(d.key) AS line1,
    address_line2(d.key) AS line2,
    CASE WHEN is_abroad THEN p.city ELSE in_capitals(c.city, d.key) END AS city,
    CASE WHEN NOT is_abroad THEN c.state END AS state,
    CASE WHEN NOT is_abroad THEN us_zip(c.zip3, d.key) END AS zip_code,
    CASE WHEN is_abroad THEN p.country ELSE 'United States' END AS country,
    CASE WHEN is_abroad THEN p.province END AS province,
    CASE WHEN is_abroad THEN p.postal_code END AS postal_code,
    s.primary_type AS primary_type_1,
    CASE WHEN chance(4000, d.key, 'second type') THEN s.primary_type END AS primary_type_2,
    s.specialty AS specialty_1,
    CASE WHEN chance(80000, d.key, 'second specialty') THEN s.next_specialty END AS specialty_2,
    c.state AS license_state_1,
    CASE WHEN chance(100000, d.key, 'second license') AND second.state != c.state
         THEN second.state END AS license_state_2
FROM drawn d
JOIN cities c ON c.key = d.city_key
JOIN places_abroad p ON p.key = d.place_key
JOIN specialties s ON s.recipient = d.kind AND s.key = d.specialty_key
JOIN cities second ON second.key = (d.city_key + 37) % getvariable('cities');

CREATE TABLE recipients AS
SELECT
    *,
    CASE kind WHEN 'physician' THEN 'Covered Recipient Physician'
              ELSE 'Covered Recipient Non-Physician Practitioner' END AS recipient_type,
    upper(concat_ws(' ', first_name, middle_name, last_name)) AS full_name
FROM clinicians
UNION ALL BY NAME
SELECT
    2000000000 + i AS key,
    'hospital' AS kind,
    'Covered Recipient Teaching Hospital' AS recipient_type,
    (1000 + i * 3 + below(3, i, 'hospital id'))::VARCHAR AS hospital_id,
    lpad(((i * 7919 + below(1000000, 0, 'first ccn')) % 1000000)::VARCHAR, 6, '0') AS hospital_ccn,
    in_capitals(c.city || ' ' || pick('hospital_end', i, 'hospital'), 2000000000 + i) AS hospital_name,
    street_address(2000000000 + i) AS line1,
    address_line2(2000000000 + i) AS line2,
    c.city, c.state, us_zip(c.zip3, 2000000000 + i) AS zip_code, 'United States' AS country
FROM range(getvariable('hospitals')) t(i)
JOIN cities c ON c.key = below(getvariable('cities'), i, 'hospital city')
UNION ALL BY NAME
SELECT
    3000000000 + i AS key,
    'entity' AS kind,
    'Non-covered Recipient Entity' AS recipient_type,
    in_capitals(CASE WHEN chance(500000, i, 'site named for city') THEN c.city
                     ELSE surname(i, 'site') END || ' ' || pick('site_end', i, 'site'), 3000000000 + i) AS entity_name,
    street_address(3000000000 + i) AS line1,
    address_line2(3000000000 + i) AS line2,
    c.city, c.state, us_zip(c.zip3, 3000000000 + i) AS zip_code, 'United States' AS country
FROM range(getvariable('sites')) t(i)
JOIN cities c ON c.key = below(getvariable('cities'), i, 'site city');

DROP TABLE clinicians;

-- Companies: even numbers make drugs, odd ones devices, every fifth both.
CREATE TABLE companies AS
SELECT
    i AS company,
    (100000000000 + (i * 7919 + below(100000, 0, 'first company')) % 100000)::VARCHAR AS id,
    pick('company_stem', i, 'company') || ' '
        || CASE WHEN i % 2 = 0 THEN pick('drug_company_end', i, 'company kind')
                ELSE pick('device_company_end', i, 'company kind') END AS short_name,
    short_name || pick('company_form', i, 'company form') AS name,
    chance(60000, i, 'company abroad') AS is_abroad,
    CASE WHEN NOT is_abroad THEN c.state END AS state,
    CASE WHEN is_abroad THEN p.country ELSE 'United States' END AS country,
    10000 + below(89999, i, 'labeler') AS labeler,
    1 + below(9, i, 'products') AS products
FROM range(getvariable('companies')) t(i)
JOIN cities c ON c.key = below(getvariable('cities'), i, 'company city')
JOIN places_abroad p ON p.key = below(getvariable('places_abroad'), i, 'company place');

-- Products: the first of each company is covered and, if a drug, has an NDC.
CREATE TABLE products AS
WITH numbered AS (
    SELECT
        company, slot, labeler,
        company * 16 + slot AS product,
        (company % 2 = 0) != (company % 5 = 4 AND slot % 2 = 1) AS is_drug
    FROM companies, range(16) t(slot)
    WHERE slot < products
)
SELECT
    company, slot, is_drug,
    CASE WHEN is_drug AND chance(800000, product, 'kind') THEN 'Drug'
         WHEN is_drug THEN 'Biological'
         WHEN chance(850000, product, 'kind') THEN 'Device'
         ELSE 'Medical Supply' END AS kind,
    slot = 0 OR chance(920000, product, 'covered') AS is_covered,
    CASE kind
        WHEN 'Device' THEN pick('device_stem', product, 'product') || ' ' || pick('device_end', product, 'product end')
        WHEN 'Medical Supply' THEN upper(pick('device_stem', product, 'product') || ' ' || pick('supply_end', product, 'product end'))
        ELSE in_capitals(pick('drug_stem', product, 'product') || pick('drug_end', product, 'product end'), product)
    END AS name,
    CASE WHEN is_drug THEN pick('drug_area', product, 'area') ELSE pick('device_area', product, 'area') END AS category,
    CASE WHEN is_drug THEN CASE below(CASE WHEN slot = 0 THEN 5 ELSE 6 END, product, 'ndc format')
        WHEN 0 THEN left(labeler::VARCHAR, 4) || '-' || digits(4, product, 'ndc') || '-' || digits(2, product, 'pack')
        WHEN 1 THEN labeler || '-' || digits(3, product, 'ndc') || '-' || digits(2, product, 'pack')
        WHEN 2 THEN labeler || '-' || digits(4, product, 'ndc') || '-' || digits(1, product, 'pack')
        WHEN 3 THEN labeler || '-' || digits(4, product, 'ndc') || '-' || digits(2, product, 'pack')
        WHEN 4 THEN labeler || digits(5, product, 'ndc')
    END END AS ndc,
    CASE WHEN NOT is_drug THEN CASE below(3, product, 'pdi format')
        WHEN 0 THEN '00' || digits(12, product, 'pdi')
        WHEN 1 THEN digits(12, product, 'pdi')
    END END AS pdi
FROM numbered;

-- Bundles: what one payment of a company is related to. Of 32 bundles the first names no product,
-- 26 name one, the rest two to five; the second names the company's first product alone.
CREATE TABLE product_sets AS
WITH numbered AS (
    SELECT
        c.company * 32 + i AS key, c.company, i AS ordinal,
        least(products, CASE WHEN i = 0 THEN 0 WHEN i <= 26 THEN 1 WHEN i <= 29 THEN 2 WHEN i = 30 THEN 3
                             ELSE 4 + c.company % 2 END) AS size,
        CASE WHEN i = 1 THEN 0 ELSE below(products, c.company * 32 + i, 'first product') END AS first_slot,
        products
    FROM companies c, range(32) t(i)
),
members AS (
    SELECT key, position, (first_slot + position) % products AS slot, company
    FROM numbered, range(5) t(position)
    WHERE position < size
),
listed AS (
    SELECT
        m.key,
        list({'name': p.name, 'kind': p.kind, 'category': p.category, 'ndc': p.ndc, 'pdi': p.pdi,
              'is_drug': p.is_drug, 'covered': CASE WHEN p.is_covered THEN 'Covered' ELSE 'Non-Covered' END}
             ORDER BY m.position) AS items
    FROM members m JOIN products p ON p.company = m.company AND p.slot = m.slot
    GROUP BY m.key
)
SELECT n.key, n.company, n.ordinal, n.size, coalesce(l.items, []) AS items
FROM numbered n LEFT JOIN listed l USING (key);

CREATE TABLE studies AS
SELECT
    i AS study,
    very_uneven(getvariable('companies'), i, 'study company') * 32 + below(32, i, 'study products') AS bundle,
    chance(40000, i, 'preclinical') AS is_preclinical,
    -- Real studies have not reached NCT09; these never will be one.
    CASE WHEN NOT is_preclinical AND chance(850000, i, 'registered')
         THEN 'NCT9' || lpad(((i * 48271 + below(10000000, 0, 'first study')) % 10000000)::VARCHAR, 7, '0') END AS nct,
    CASE WHEN chance(30000, i, 'link') THEN pick('research_link', i, 'which link') END AS link,
    pick('study_design', i, 'design') || coalesce(upper(s.items[1].name), 'STANDARD OF CARE')
        || ' IN ' || pick('condition', i, 'condition') AS name
FROM range(getvariable('studies')) t(i)
JOIN product_sets s
    ON s.key = very_uneven(getvariable('companies'), i, 'study company') * 32 + below(32, i, 'study products');

CREATE TABLE third_parties AS
SELECT
    i AS key,
    CASE WHEN i % 10 < 7 THEN 'Entity' ELSE 'Individual' END AS indicator,
    CASE WHEN i % 10 < 7 THEN surname(i, 'third party') || ' ' || pick('third_party_end', i, 'third party') END AS name,
    CASE WHEN chance(100000, i, 'charity') THEN 'Yes' WHEN chance(900000, i, 'charity') THEN 'No' END AS charity,
    CASE WHEN i % 10 >= 7 AND chance(500000, i, 'covered') THEN 'Yes' ELSE 'No' END AS equals_covered
FROM range(200) t(i);

CREATE TABLE trips AS
SELECT
    i AS key,
    CASE WHEN chance(60000, i, 'trip abroad') THEN p.city ELSE c.city END AS city,
    CASE WHEN NOT chance(60000, i, 'trip abroad') THEN c.state END AS state,
    CASE WHEN chance(60000, i, 'trip abroad') THEN p.country ELSE 'United States' END AS country
FROM range(500) t(i)
JOIN cities c ON c.key = below(getvariable('cities'), i, 'trip city')
JOIN places_abroad p ON p.key = below(getvariable('places_abroad'), i, 'trip place');
