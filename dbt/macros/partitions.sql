{#-
  The rows of the partition at hand: one dataset and one program year, given as
  --vars '{dataset: general, program_year: 2023}' or as OPENPAY_DATASET and OPENPAY_PROGRAM_YEAR.
  The lake's runs use the environment: other --vars make dbt parse the whole project again. It is
  read when a model is compiled, never when it is parsed, or another partition would make dbt parse
  every model that reads it. Every model that reads a table holding more than one partition filters
  with this, and nothing else does.
-#}
{% macro this_partition() -%}
{%- if execute -%}
{%- set dataset = var('dataset', env_var('OPENPAY_DATASET', '')) -%}
{%- set program_year = var('program_year', env_var('OPENPAY_PROGRAM_YEAR', '')) -%}
{%- if dataset not in ['general', 'research', 'ownership'] -%}
{{ exceptions.raise_compiler_error(
    "Unknown dataset '" ~ dataset ~ "'. Known: general, research, ownership."
) }}
{%- elif (program_year | string | int(-1)) < 2013 -%}
{{ exceptions.raise_compiler_error(
    "program_year must be a year from 2013 onward, got '" ~ program_year ~ "'."
) }}
{%- endif -%}
dataset = '{{ dataset }}' and program_year = {{ program_year }}
{%- else -%}
true
{%- endif -%}
{%- endmacro %}


{#-
  delete+insert only deletes partitions that have new rows, so a partition that became empty
  would keep its old ones.
-#}
{% macro empty_this_partition() -%}
{% if is_incremental() -%}
delete from {{ this }} where {{ this_partition() }}
{%- endif %}
{%- endmacro %}
