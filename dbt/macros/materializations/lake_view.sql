{#-
  A view over curated tables that marts build on and readers query, so that no rows are written
  twice. While dbt builds and tests, it holds the partition at hand; whoever runs dbt keeps the
  compiled SQL, which holds every partition, for readers.
-#}
{% materialization lake_view, adapter='duckdb' %}
  {%- set target_relation = this.incorporate(type='view') -%}

  {% call between_hooks() %}
    {% call statement('main') -%}
      create or replace view {{ target_relation }} as
      select * from (
{{ sql }}
      ) as every_partition
      where {{ this_partition() }}
    {%- endcall %}
  {% endcall %}

  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
