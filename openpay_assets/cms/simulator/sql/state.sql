-- The state of each record of a chunk at a release, those that it removes included. Filled in by
-- story.py: {{release}} is the release's number, {{events}} to {{correction}} run over the releases
-- up to it.
CREATE OR REPLACE TEMP TABLE {table} AS
WITH born AS (
    SELECT *, birth(n) AS birth, turn(n) AS turn FROM chunk
),
dying AS (
    SELECT *, CASE WHEN damage IS NULL THEN death(n, birth, turn) ELSE 99 END AS death
    FROM born
    WHERE birth <= {release}
),
eventful AS (
    SELECT {events}
    FROM dying
    WHERE death >= {release}
),
stated AS (
    SELECT
        *, {risen_before} AS risen_before, {risen} AS risen, ({flips}) % 2 = 1 AS flipped,
        {correction} AS correction,
        -- What tellers of lies are free to lie about.
        damage IS NULL AND birth = 0 AND n // getvariable('stretch') < {lies} AS may_lie
    FROM eventful
),
judged AS (
    SELECT
        * REPLACE (
            {corrected_nature}
            cents + risen AS cents,
            CASE WHEN correction > 0 THEN NULL ELSE context END AS context
        ),
        cents + risen_before AS cents_before,
        {event_now} > 0 AND death > {release} AS is_changed,
        death = {release} AS is_removed,
        may_lie AND death > {release} AND {event_now} = 1 AND turn = {release} * 4 - 3 AS is_unmarked,
        may_lie AND death > {release} AND turn = getvariable('stretch') - 1 AS is_listed_alive,
        may_lie AND death = {release} AS is_unlisted
    FROM stated
)
SELECT
    *,
    is_removed AND NOT is_unlisted OR is_listed_alive AS is_listed,
    CASE
        WHEN birth = {release} THEN CASE
            WHEN birth = 0 OR (n - getvariable('first_rows')) % getvariable('batch') % 4 = 0 THEN 'NEW'
            ELSE 'ADD' END
        WHEN is_changed AND NOT is_unmarked THEN 'CHANGED'
        ELSE 'UNCHANGED'
    END AS change_type
FROM judged;
