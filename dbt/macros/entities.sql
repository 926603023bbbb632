{#-
  A number that orders the rows of one entity over all partitions, the latest highest: program
  year, then the day it was last seen (none counts as earliest), then general before research
  before ownership. Unique per entity, since an entity has one row per dataset and program year.
  The highest number and a join take a third of the time of a window over three columns.
-#}
{% macro recency() -%}
program_year * cast(1000000 as bigint)
    + coalesce(last_seen_on - date '2000-01-01', 0) * 10
    + case dataset when 'general' then 2 when 'research' then 1 else 0 end
{%- endmacro %}


{# The datasets among grouped rows, separated by |. #}
{% macro datasets_seen() -%}
rtrim(
        max(case when dataset = 'general' then 'general|' else '' end)
        || max(case when dataset = 'research' then 'research|' else '' end)
        || max(case when dataset = 'ownership' then 'ownership|' else '' end),
        '|'
    )
{%- endmacro %}


{# Grouped texts as one, in binary order, separated by |. #}
{% macro joined(column, separator='|') -%}
{%- if target.type == 'duckdb' -%}
string_agg({{ column }}, '{{ separator }}' order by {{ column }})
{%- else -%}
listagg({{ column }}, '{{ separator }}') within group (order by {{ column }})
{%- endif -%}
{%- endmacro %}


{# A row for each element of a list column, beside the columns of the row that holds it. #}
{% macro each_element(relation, columns, list_column, element) -%}
{%- if target.type == 'duckdb' -%}
select
        {{ columns | join(', ') }},
        unnest({{ list_column }}) as {{ element }}
    from {{ relation }}
{%- else -%}
select
        {% for column in columns %}holder.{{ column }}, {% endfor %}
        cast(element as varchar) as {{ element }}
    from {{ relation }} as holder, holder.{{ list_column }} as element
{%- endif -%}
{%- endmacro %}
