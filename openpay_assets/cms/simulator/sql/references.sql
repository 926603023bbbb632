-- Who is who beside the payments: profiles of clinicians, companies and hospitals, and which
-- profiles belong to one clinician. The same in every release of a seed.

-- A few clinicians have another profile; of these a few have a third one, mapped to the second.
CREATE OR REPLACE TEMP TABLE profile_mapping AS
WITH paired AS (
    SELECT a.key, a.profile_id AS primary_profile_id, b.profile_id AS secondary_profile_id
    FROM recipients a
    JOIN recipients b ON b.key = a.key + 1 AND b.kind = a.kind
    WHERE a.kind IN ('physician', 'practitioner')
        AND (a.key % 100 = 7 OR a.key % 400 = 8)
)
SELECT primary_profile_id, secondary_profile_id, key FROM paired;

CREATE OR REPLACE TEMP TABLE supplement AS
SELECT
    r.key,
    r.recipient_type AS covered_recipient_profile_type,
    r.profile_id AS covered_recipient_profile_id,
    next.secondary_profile_id AS associated_covered_recipient_profile_id_1,
    third.secondary_profile_id AS associated_covered_recipient_profile_id_2,
    r.npi AS covered_recipient_npi,
    upper(r.first_name) AS covered_recipient_profile_first_name,
    upper(r.middle_name) AS covered_recipient_profile_middle_name,
    upper(r.last_name) AS covered_recipient_profile_last_name,
    r.name_suffix AS covered_recipient_profile_suffix,
    CASE WHEN chance(40000, r.key, 'other name') THEN upper(r.first_name) END AS covered_recipient_profile_alternate_first_name,
    CASE WHEN chance(40000, r.key, 'other name') THEN upper(r.middle_name) END AS covered_recipient_profile_alternate_middle_name,
    CASE WHEN chance(40000, r.key, 'other name') THEN upper(surname(r.key, 'other surname')) END
        AS covered_recipient_profile_alternate_last_name,
    CASE WHEN chance(40000, r.key, 'other name') THEN r.name_suffix END AS covered_recipient_profile_alternate_suffix,
    upper(r.line1) AS covered_recipient_profile_address_line_1,
    upper(r.line2) AS covered_recipient_profile_address_line_2,
    upper(r.city) AS covered_recipient_profile_city,
    r.state AS covered_recipient_profile_state,
    r.zip_code AS covered_recipient_profile_zipcode,
    upper(r.country) AS covered_recipient_profile_country_name,
    r.province AS covered_recipient_profile_province_name,
    r.specialty_1 AS covered_recipient_profile_primary_specialty,
    t.code AS covered_recipient_profile_ops_taxonomy_1,
    second.code AS covered_recipient_profile_ops_taxonomy_2,
    r.license_state_1 AS covered_recipient_profile_license_state_code_1,
    r.license_state_2 AS covered_recipient_profile_license_state_code_2,
    (500000 + r.key)::VARCHAR AS legacy_physician_id,
    r.specialty_2 AS legacy_physician_additional_specialty1
FROM recipients r
LEFT JOIN taxonomy_codes t ON t.specialty = r.specialty_1
LEFT JOIN taxonomy_codes second ON second.specialty = r.specialty_2
LEFT JOIN profile_mapping next ON next.primary_profile_id = r.profile_id
LEFT JOIN profile_mapping third ON third.primary_profile_id = next.secondary_profile_id
WHERE r.kind IN ('physician', 'practitioner');

CREATE OR REPLACE TEMP TABLE company_names AS
SELECT
    id AS company, name, state, country,
    [upper(name), short_name] AS others
FROM companies;

CREATE OR REPLACE TEMP VIEW entity_profiles AS
SELECT
    company AS company_id, name AS company_name, state AS company_state, country AS company_country,
    others[1] AS alternate_name_1, nullif(others[2], name) AS alternate_name_2,
    NULL AS alternate_name_3, NULL AS alternate_name_4, NULL AS alternate_name_5
FROM company_names
ORDER BY company;

CREATE OR REPLACE TEMP VIEW hospital_profiles AS
SELECT
    hospital_ccn, hospital_name, line1 AS address_line1, line2 AS address_line2, city, state, zip_code,
    nullif(upper(hospital_name), hospital_name) AS alternate_name_1, NULL AS alternate_name_2,
    NULL AS alternate_name_3, NULL AS alternate_name_4, NULL AS alternate_name_5
FROM recipients
WHERE kind = 'hospital'
ORDER BY hospital_ccn;
