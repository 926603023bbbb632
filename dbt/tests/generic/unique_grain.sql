{#-
  No two rows of the partition at hand share a grain. dataset and program_year are constant within
  a partition, so grouping leaves them out, which saves a third of the time on large partitions.
-#}
{% test unique_grain(model, columns) %}
{%- set keys = columns | reject('in', ['dataset', 'program_year']) | join(', ') %}
select {{ keys }}
from {{ model }}
where {{ this_partition() }}
group by {{ keys }}
having count(*) > 1
{% endtest %}
