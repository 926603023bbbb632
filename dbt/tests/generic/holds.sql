{# Every row satisfies a condition; an unknown (null) one does not. #}
{% test holds(model, condition) %}
select *
from {{ model }}
where not coalesce({{ condition }}, false)
{% endtest %}
