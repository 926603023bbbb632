{#-
  A view over curated tables that marts build on and readers query, so that no rows are written
  twice. While dbt builds and tests, it holds the partition at hand; whoever runs dbt keeps the
  compiled SQL, which holds every partition, for readers.
-#}
{% materialization lake_view, adapter='duckdb' %}
  {%- set target_relation = this.incorporate(type='view') -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}

  {% call statement('main') -%}
    create or replace view {{ target_relation }} as
    select * from (
{{ sql }}
    ) as every_partition
    where {{ this_partition() }}
  {%- endcall %}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}

  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
