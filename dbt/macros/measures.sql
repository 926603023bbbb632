{#-
  What every money mart counts. Datasets are never added together: each caller groups by dataset.
  value_of_interest stays null outside ownership, where CMS reports none. Sums are cast back, for
  both engines widen them.
-#}

{# Individuals whom CMS does not name share one key: they are no recipient to count or compare. #}
{% macro is_a_recipient() -%}
recipient_key != 'individual:not named'
{%- endmacro %}


{# Over CMS records. #}
{% macro record_measures() -%}
count(*) as records,
    cast(sum(amount) as decimal(18, 2)) as amount,
    cast(sum(value_of_interest) as decimal(18, 2)) as value_of_interest,
    count(case when is_disputed then 1 end) as disputed_records,
    cast(sum(case when is_disputed then amount else 0 end) as decimal(18, 2)) as disputed_amount,
    cast(
        sum(case when is_disputed then value_of_interest end) as decimal(18, 2)
    ) as disputed_value_of_interest
{%- endmacro %}


{# Over rows that already carry the measures. #}
{% macro summed_measures() -%}
cast(sum(records) as bigint) as records,
    cast(sum(amount) as decimal(18, 2)) as amount,
    cast(sum(value_of_interest) as decimal(18, 2)) as value_of_interest,
    cast(sum(disputed_records) as bigint) as disputed_records,
    cast(sum(disputed_amount) as decimal(18, 2)) as disputed_amount,
    cast(sum(disputed_value_of_interest) as decimal(18, 2)) as disputed_value_of_interest
{%- endmacro %}
