{#-
  A product name without what differs between spellings of one product: case, trademark signs and
  runs of white space. Redshift replaces every match by default, DuckDB when told so.
-#}
{% macro normal_product_name(column) -%}
trim(
        regexp_replace(
            upper({{ column }}),
            '([[:space:]]|®|™|©|[(](R|TM)[)])+',
            ' '{{ ", 'g'" if target.type == 'duckdb' }}
        )
    )
{%- endmacro %}
