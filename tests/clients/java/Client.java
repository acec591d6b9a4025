// A program over nsq-j that does with messages what NSQ lets a client do, and tells every delivery.
//
// It knows the client library and nothing of the broker behind it; the tests read its lines. The
// program over pynsq has the same `exercise`.

import com.sproutsocial.nsq.Config;
import com.sproutsocial.nsq.DirectSubscriber;
import com.sproutsocial.nsq.Message;
import com.sproutsocial.nsq.Publisher;
import com.sproutsocial.nsq.Subscriber;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

public final class Client {
    /** As long as a message may stay without an answer. */
    private static final int TIMEOUT_MS = 6000;

    /** A third touch comes after the timeout, had there not been the first. */
    private static final int TOUCH_EVERY_MS = 2400;

    private static final int REQUEUE_MS = 200;

    private static final int DEFERRED_MS = 1500;

    /** Everything that is published, each to be finished once. */
    private static final int MESSAGES = 7;

    private final CountDownLatch unfinished = new CountDownLatch(MESSAGES);

    private volatile long publishedAt;

    private Client() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            options.put(parts[0], parts.length > 1 ? parts[1] : "");
        }
        if (!options.containsKey("exercise")) {
            throw new IllegalArgumentException("say exercise");
        }
        new Client().exercise(options);
        System.exit(0);
    }

    private void exercise(Map<String, String> options) throws Exception {
        Config config = new Config();
        config.setMsgTimeout(TIMEOUT_MS);
        config.setSnappy(options.containsKey("--snappy"));
        config.setDeflate(options.containsKey("--deflate"));
        if (options.containsKey("--tls-ca")) {
            config.setTlsV1(true);
            com.sproutsocial.nsq.Client.getDefaultClient()
                    .setSSLSocketFactory(signedBy(Path.of(options.get("--tls-ca"))));
        }

        String broker = options.get("--nsqd");
        String directory = options.get("--lookupd");
        Subscriber subscriber =
                directory == null ? new DirectSubscriber(1, broker) : new Subscriber(1, directory);
        subscriber.setConfig(config);
        // nsq-j keeps its answers back for so long.
        subscriber.setMaxFlushDelayMillis(20);
        String topic = options.get("--topic");
        subscriber.subscribe(topic, options.get("--channel"), 10, this::handle);

        Publisher publisher = new Publisher(broker);
        publisher.setConfig(config);
        publishedAt = System.nanoTime();
        publisher.publishDeferred(topic, bytes("deferred"), DEFERRED_MS, TimeUnit.MILLISECONDS);
        for (String body : List.of("finish", "requeue", "touch", "leave")) {
            publisher.publish(topic, bytes(body));
        }
        publisher.publish(topic, List.of(bytes("batched one"), bytes("batched two")));

        if (!unfinished.await(90, TimeUnit.SECONDS)) {
            throw new IllegalStateException(unfinished.getCount() + " messages never came");
        }
        Thread.sleep(300); // The last FIN leaves.
        subscriber.stop();
        publisher.stop();
    }

    private void handle(Message message) {
        String body = new String(message.getData(), StandardCharsets.UTF_8);
        boolean first = message.getAttempts() == 1;
        System.out.println(body + " attempt=" + message.getAttempts());
        if (body.equals("requeue") && first) {
            message.requeue(REQUEUE_MS);
            return;
        }
        if (body.equals("leave") && first) {
            return;
        }
        if (body.equals("touch")) {
            touch(message);
        }
        long age = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - publishedAt);
        if (body.equals("deferred") && age < DEFERRED_MS) {
            System.out.println("deferred came after " + age + " ms");
        }
        message.finish();
        unfinished.countDown();
    }

    private static void touch(Message message) {
        try {
            for (int touches = 0; touches < 2; touches++) {
                Thread.sleep(TOUCH_EVERY_MS);
                message.touch();
            }
            Thread.sleep(TOUCH_EVERY_MS);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    private static byte[] bytes(String body) {
        return body.getBytes(StandardCharsets.UTF_8);
    }

    /** TLS that takes the certificates of one authority. */
    private static SSLSocketFactory signedBy(Path authority)
            throws GeneralSecurityException, IOException {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null);
        try (InputStream file = Files.newInputStream(authority)) {
            CertificateFactory reader = CertificateFactory.getInstance("X.509");
            known.setCertificateEntry("authority", reader.generateCertificate(file));
        }
        TrustManagerFactory trust =
                TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }
}
