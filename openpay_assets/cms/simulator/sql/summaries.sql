-- Summaries of one publication over ``published``: one row per published record, dirty ones
-- included, with dataset, year, company, recipient_type, profile, hospital, state, country,
-- specialty, nature, is_disputed, cents, interest_cents and investigators. Keys are what the
-- records say; a record without a key is counted wherever the key is not needed.

CREATE OR REPLACE TEMP TABLE labelled AS
SELECT *, unnest([year::VARCHAR, 'ALL']) AS label FROM published;

-- Payments to covered recipients, with who received them.
CREATE OR REPLACE TEMP VIEW covered AS
SELECT
    *,
    upper(dataset[1]) || dataset[2:] AS payment_type,
    CASE WHEN recipient_type = 'Covered Recipient Teaching Hospital' THEN hospital ELSE profile END AS party
FROM labelled
WHERE dataset IN ('general', 'research') AND recipient_type IN (
    'Covered Recipient Physician', 'Covered Recipient Non-Physician Practitioner', 'Covered Recipient Teaching Hospital'
);

CREATE OR REPLACE TEMP VIEW entity_nature_summary AS
SELECT
    p.year, p.company AS company_id, coalesce(n.code, '') AS nature_code,
    count(*)::VARCHAR AS records, money(sum(p.cents)) AS amount, any_value(c.name) AS company_name
FROM published p
LEFT JOIN nature_codes n ON n.nature = p.nature
LEFT JOIN company_names c ON c.company = p.company
WHERE p.dataset = 'general'
GROUP BY p.year, p.company, nature_code
ORDER BY p.year, company_id, nature_code;

CREATE OR REPLACE TEMP VIEW entity_summary AS
SELECT
    p.company AS company_id,
    any_value(c.name) AS company_name, any_value(c.state) AS company_state, any_value(c.country) AS company_country,
    money(coalesce(sum(cents) FILTER (dataset = 'general'), 0)) AS general_amount,
    money(coalesce(sum(cents) FILTER (dataset = 'research'), 0)) AS research_amount,
    money(coalesce(sum(cents) FILTER (dataset = 'ownership'), 0)) AS invested_amount,
    money(coalesce(sum(interest_cents) FILTER (dataset = 'ownership'), 0)) AS interest_amount,
    count(*) FILTER (dataset = 'general') AS general_records,
    count(*) FILTER (dataset = 'general' AND recipient_type = 'Covered Recipient Physician') AS general_records_physicians,
    count(*) FILTER (dataset = 'general' AND recipient_type = 'Covered Recipient Non-Physician Practitioner')
        AS general_records_practitioners,
    count(*) FILTER (dataset = 'general' AND recipient_type = 'Covered Recipient Teaching Hospital') AS general_records_hospitals,
    count(*) FILTER (dataset = 'research') AS research_records,
    count(*) FILTER (dataset = 'research' AND recipient_type = 'Covered Recipient Physician') AS research_records_physicians,
    count(*) FILTER (dataset = 'research' AND recipient_type = 'Covered Recipient Non-Physician Practitioner')
        AS research_records_practitioners,
    count(*) FILTER (dataset = 'research' AND recipient_type = 'Covered Recipient Teaching Hospital') AS research_records_hospitals,
    count(*) FILTER (dataset = 'ownership') AS ownership_records,
    count(*) FILTER (is_disputed) AS disputed_records, count(*) FILTER (NOT is_disputed) AS undisputed_records,
    replace(label, 'ALL', 'All') AS program_year
FROM labelled p
LEFT JOIN company_names c ON c.company = p.company
GROUP BY p.company, label
ORDER BY company_id, label;

CREATE OR REPLACE TEMP VIEW hospital_summary AS
SELECT
    p.hospital AS hospital_ccn, any_value(h.hospital_name) AS hospital_name, any_value(h.line1) AS address_line1,
    any_value(h.line2) AS address_line2, any_value(h.city) AS city, any_value(h.state) AS state,
    any_value(h.zip_code) AS zip_code,
    money(coalesce(sum(cents) FILTER (dataset = 'general'), 0)) AS general_amount,
    money(coalesce(sum(cents) FILTER (dataset = 'research'), 0)) AS research_amount,
    count(*) FILTER (dataset = 'general') AS general_records,
    count(*) FILTER (dataset = 'research') AS research_records,
    count(*) FILTER (is_disputed) AS disputed_records, count(*) FILTER (NOT is_disputed) AS undisputed_records,
    replace(label, 'ALL', 'All') AS program_year
FROM covered p
LEFT JOIN recipients h ON h.hospital_ccn = p.hospital
WHERE p.recipient_type = 'Covered Recipient Teaching Hospital' AND p.hospital != ''
GROUP BY p.hospital, label
ORDER BY p.hospital, label;

CREATE OR REPLACE TEMP VIEW physician_summary AS
WITH direct AS (
    SELECT *, 'direct' AS role, profile AS party FROM labelled
    WHERE profile != '' AND (dataset = 'ownership' OR recipient_type IN (
        'Covered Recipient Physician', 'Covered Recipient Non-Physician Practitioner'))
),
associated AS (
    SELECT *, 'associated' AS role, unnest(list_distinct(investigators)) AS party
    FROM labelled
    WHERE dataset = 'research'
),
every AS (
    FROM direct UNION ALL BY NAME FROM associated
)
SELECT
    e.party AS profile_id,
    replace(e.label, 'ALL', 'All') AS program_year,
    coalesce(any_value(s.covered_recipient_profile_type), CASE WHEN bool_and(dataset = 'ownership')
        THEN 'Covered Recipient Physician' ELSE min(nullif(e.recipient_type, '')) FILTER (role = 'direct') END) AS profile_type,
    any_value(s.covered_recipient_npi) AS npi,
    any_value(s.covered_recipient_profile_first_name) AS first_name,
    any_value(s.covered_recipient_profile_middle_name) AS middle_name,
    any_value(s.covered_recipient_profile_last_name) AS last_name,
    any_value(s.covered_recipient_profile_suffix) AS suffix,
    any_value(s.covered_recipient_profile_alternate_first_name) AS alternate_first_name,
    any_value(s.covered_recipient_profile_alternate_middle_name) AS alternate_middle_name,
    any_value(s.covered_recipient_profile_alternate_last_name) AS alternate_last_name,
    any_value(s.covered_recipient_profile_alternate_suffix) AS alternate_suffix,
    any_value(s.covered_recipient_profile_address_line_1) AS address_line_1,
    any_value(s.covered_recipient_profile_address_line_2) AS address_line_2,
    any_value(s.covered_recipient_profile_city) AS city,
    any_value(s.covered_recipient_profile_state) AS state,
    any_value(s.covered_recipient_profile_zipcode) AS zipcode,
    any_value(s.covered_recipient_profile_country_name) AS country_name,
    any_value(s.covered_recipient_profile_province_name) AS province_name,
    any_value(s.covered_recipient_profile_primary_specialty) AS primary_specialty,
    any_value(s.covered_recipient_profile_license_state_code_1) AS license_state_code_1,
    any_value(s.covered_recipient_profile_license_state_code_2) AS license_state_code_2,
    NULL AS license_state_code_3, NULL AS license_state_code_4, NULL AS license_state_code_5,
    money(coalesce(sum(cents) FILTER (role = 'direct' AND dataset = 'general'), 0)) AS general_amount,
    money(coalesce(sum(cents) FILTER (role = 'direct' AND dataset = 'research'), 0)) AS research_amount,
    money(coalesce(sum(cents) FILTER (role = 'direct' AND dataset = 'ownership'), 0)) AS invested_amount,
    money(coalesce(sum(interest_cents) FILTER (role = 'direct' AND dataset = 'ownership'), 0)) AS interest_amount,
    count(*) FILTER (role = 'direct' AND dataset = 'general') AS general_records,
    count(*) FILTER (role = 'direct' AND dataset = 'research') AS research_records,
    count(*) FILTER (role = 'direct' AND dataset = 'ownership') AS invested_records,
    count(*) FILTER (role = 'direct' AND dataset = 'ownership') AS interest_records,
    money(coalesce(sum(cents) FILTER (role = 'associated'), 0)) AS associated_research_amount,
    count(*) FILTER (role = 'associated') AS associated_research_records,
    count(*) FILTER (role = 'direct' AND is_disputed) AS disputed_records,
    count(*) FILTER (role = 'direct' AND NOT is_disputed) AS undisputed_records,
    CASE WHEN e.party IN (SELECT primary_profile_id FROM profile_mapping)
        OR e.party IN (SELECT secondary_profile_id FROM profile_mapping) THEN 'Yes' ELSE 'No' END AS has_multiple_ids
FROM every e
LEFT JOIN supplement s ON s.covered_recipient_profile_id = e.party
GROUP BY e.party, e.label
ORDER BY e.party, e.label;
