-- Draws. Nothing is random: every choice is a hash of the seed, a number (of an entity or a
-- record) and the purpose of the choice, so it depends neither on the order nor on the number of
-- rows, chunks or threads. Counts are BIGINT; only comparisons and products are taken of floats.

-- Hashing several values combines them by exclusive or; the second hash is what makes draws for
-- two purposes independent of each other.
CREATE MACRO draw(number, purpose) AS
    hash(hash(getvariable('seed')::BIGINT, purpose, number::BIGINT));

-- A whole number from 0 to most - 1.
CREATE MACRO below(most, number, purpose) AS (draw(number, purpose) % most::UBIGINT)::BIGINT;

-- The same, small numbers more often: the clinicians whom many companies know.
CREATE MACRO uneven(most, number, purpose) AS (
    (below(1048576, number, purpose) * below(1048576, number, purpose || ' again') * most::BIGINT) >> 40
);

-- Small numbers far more often: the few companies that pay the most.
CREATE MACRO very_uneven(most, number, purpose) AS (
    (below(1048576, number, purpose) * below(1048576, number, purpose) * most::BIGINT) >> 40
);

CREATE MACRO chance(per_million, number, purpose) AS below(1000000, number, purpose) < per_million;

-- A word of one of the lists of data/words.csv.
CREATE MACRO pick(words, number, purpose) AS
    getvariable(words)[1 + below(len(getvariable(words)), number, purpose)];

CREATE MACRO digits(width, number, purpose) AS
    lpad(below(10::BIGINT ** width, number, purpose)::VARCHAR, width, '0');

-- US dollars as CMS writes them: two decimals, nothing else.
CREATE MACRO money(cents) AS (cents::DECIMAL(15, 0) * 0.01::DECIMAL(3, 2))::DECIMAL(18, 2)::VARCHAR;

-- A share of a sum in whole cents.
CREATE MACRO half_up(sum, parts) AS (2 * sum::HUGEINT + parts) // (2 * parts::HUGEINT);

-- A value as CMS writes it between commas: text in quotes, money without, nothing for nothing.
-- Testing before replacing makes the whole simulation a third faster.
CREATE MACRO quoted(value) AS
    '"' || CASE WHEN contains(value, '"') THEN replace(value, '"', '""') ELSE value END || '"';
CREATE MACRO bare(value) AS CASE WHEN contains(value, ',') THEN '"' || value || '"' ELSE value END;

CREATE MACRO line_breaks(value) AS length(value) - length(replace(value, chr(10), ''));

CREATE MACRO us_day(day) AS strftime(day, '%m/%d/%Y');

-- Which part of a distribution a share of a million falls in; the parts are the columns of
-- data/amounts.csv, from smallest-p25 (0) to p999-largest (6).
CREATE MACRO amount_step(share) AS CASE
    WHEN share < 250000 THEN 0
    WHEN share < 500000 THEN 1
    WHEN share < 750000 THEN 2
    WHEN share < 900000 THEN 3
    WHEN share < 990000 THEN 4
    WHEN share < 999000 THEN 5
    ELSE 6
END;

-- Cents between two quantiles; in the tail most lie near the lower one.
CREATE MACRO amount_between(low, high, step, share) AS
    low + ((high - low) * CASE WHEN step < 4 THEN share ELSE share * share * share END)::BIGINT;

-- What happened to a record since the publication before. At its first publication every record
-- of a program year is NEW. Releases that tell a longer story change this macro.
CREATE MACRO change_type(record) AS CASE
    WHEN getvariable('is_first_publication') THEN 'NEW'
    WHEN chance(4000, record, 'life cycle') THEN 'NEW'
    WHEN chance(18000, record, 'life cycle') THEN 'ADD'
    WHEN chance(36000, record, 'life cycle') THEN 'CHANGED'
    ELSE 'UNCHANGED'
END;
