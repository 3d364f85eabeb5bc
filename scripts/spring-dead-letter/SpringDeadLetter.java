// Prints what a DeadLetterPublishingRecoverer sends for one record, as lines of `name hex`: mvn -q compile exec:java
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.MockProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.ListenerExecutionFailedException;

public class SpringDeadLetter {
    public static void main(String[] args) {
        MockProducer<Object, Object> producer = new MockProducer<>(true, null,
                (org.apache.kafka.common.serialization.Serializer) new ByteArraySerializer(),
                (org.apache.kafka.common.serialization.Serializer) new ByteArraySerializer());
        ProducerFactory<Object, Object> factory = () -> producer;
        KafkaTemplate<Object, Object> template = new KafkaTemplate<>(factory);
        DeadLetterPublishingRecoverer recoverer = new DeadLetterPublishingRecoverer(template);
        recoverer.setVerifyPartition(false);
        RecordHeaders headers = new RecordHeaders();
        headers.add("message-id", "a".getBytes(StandardCharsets.UTF_8));
        ConsumerRecord<Object, Object> record = new ConsumerRecord<>("event.order", 3, 4294967301L, 1700000000123L,
                TimestampType.CREATE_TIME, 1, 2, "key".getBytes(StandardCharsets.UTF_8),
                "value".getBytes(StandardCharsets.UTF_8), headers, Optional.empty());
        recoverer.accept(record, null, new ListenerExecutionFailedException("Listener failed", "billing",
                new IllegalStateException("no such customer")));
        ProducerRecord<Object, Object> sent = producer.history().get(0);
        System.out.println("# " + sent.topic() + " partition " + sent.partition());
        HexFormat hex = HexFormat.of();
        System.out.println("key " + hex.formatHex((byte[]) sent.key()));
        System.out.println("value " + hex.formatHex((byte[]) sent.value()));
        for (Header header : sent.headers()) {
            byte[] value = header.value();
            // A stack trace is of this program; its first line says how one begins.
            if (header.key().endsWith("stacktrace")) {
                value = new String(value, StandardCharsets.UTF_8).lines().findFirst().get().getBytes(StandardCharsets.UTF_8);
            }
            System.out.println(header.key() + " " + hex.formatHex(value));
        }
        System.exit(0);
    }
}
