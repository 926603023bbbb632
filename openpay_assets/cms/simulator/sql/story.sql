-- The life of a record over the releases of its partition. Releases are numbered from 0, the
-- first publication. Nothing is remembered: when a record appears, changes and disappears is
-- drawn from its number, so any release can be written without those before it.
--
-- The rows of the first publication come in stretches. In each stretch and each later release
-- one row is removed, one changes its amount, one its dispute flag and one its text: rows take
-- turns, in an order of their stretch. Further changes strike any row at any release.

CREATE MACRO birth(n) AS CASE WHEN n < getvariable('first_rows') THEN 0
    ELSE 1 + (n - getvariable('first_rows')) // getvariable('batch') END;

CREATE MACRO turn(n) AS (
    n * 37 + below(getvariable('stretch'), getvariable('first_record') + n // getvariable('stretch'), 'turns')
) % getvariable('stretch');

-- The release in which a record is gone; 99 for never. A tenth of those that come late go again.
CREATE MACRO death(n, birth, turn) AS CASE
    WHEN birth = 0 THEN CASE WHEN turn % 4 = 0 THEN turn // 4 + 1 ELSE 99 END
    WHEN chance(100000, getvariable('first_record') + n, 'short life')
        THEN birth + 1 + below(3, getvariable('first_record') + n, 'length of life')
    ELSE 99
END;

-- What changes in a record at a release: 0 nothing, 1 its amount, 2 its dispute flag, 3 its text.
CREATE MACRO event(n, birth, turn, release) AS CASE
    WHEN release <= birth THEN 0
    WHEN birth = 0 AND turn // 4 + 1 = release THEN turn % 4
    WHEN chance(15000, getvariable('first_record') + n, 'changes in ' || release)
        THEN 1 + below(3, getvariable('first_record') + n, 'what changes in ' || release)
    ELSE 0
END;

-- Always upwards, so that two changes of an amount never cancel.
CREATE MACRO rise(n, release) AS 1 + below(4999, getvariable('first_record') + n, 'rise in ' || release);
