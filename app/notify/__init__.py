"""Who is told what, and how: from events on record (`telling`) to deliveries that are sent (`courier`)."""
