//! What a sandbox may reach: a chapter of the design.

chapter! {
    /// What a sandbox may reach, and against whom that is defended.
    ///
    walls {
        /// # Who is trusted
        ///
        /// The operator, the configuration, the engine, and the clients that have the key: they decide what runs. Images are
        /// trusted as far as they are told to: their command runs inside. What runs in a sandbox is not trusted, as root too,
        /// nor is what it sends to Sandglass, to its own published ports, or to the agent that works in it.
        ///
        trust;

        /// # What is protected
        ///
        /// Other sandboxes, the host and all of its addresses, private networks, the metadata service of a
        /// cloud, Sandglass's own interface, and the engine's. A sandbox on an *isolated* network reaches the internet and
        /// none of these. What it answers to those who have connected to it passes: published ports, readiness probes and
        /// requests through Sandglass work as everywhere.
        ///
        protected;

        /// # What is blocked
        ///
        /// Everything that such a sandbox sends to another port of a bridge of ours, to an address of the host, or to 0.0.0.0/8,
        /// 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16,
        /// 198.18.0.0/15, 224.0.0.0/4 or 240.0.0.0/4. Port 53 of the host's resolvers is open. IPv6 is off on these networks, and
        /// what is sent by it all the same is dropped. An address that belongs to no living sandbox reaches nothing, so a
        /// forged sender does not help. What was dropped is counted per sandbox, and `why` shows where it went.
        ///
        blocked;

        /// # Networks
        ///
        /// Isolated networks are bridges of our own, whose ports the engine keeps apart; one takes 1,000 sandboxes. An *internal*
        /// one has no way out at all. They are adopted after a restart. A sandbox on `default` or on a network by name has no
        /// walls: what that network reaches is the operator's choice.
        ///
        networks;

        /// # Rules come first
        ///
        /// The address of a sandbox is chosen when its container is created, and its rules are in place before that runs, also
        /// before it runs again. They change as a whole. They are the kernel's, so they outlive a stop or a crash of
        /// Sandglass, and they go with the container. At the start, before anything runs again, and at each
        /// [comparison](crate::design::engine::comparison), they are compared with what is to be, and mended.
        ///
        first;

        /// # It fails closed
        ///
        /// Where rules cannot be set, a sandbox that asks for some does not start, and the error says what to do. One that asks
        /// for none starts, and `/readyz` says what is not blocked. What is not understood, of a label for instance, shuts
        /// everything.
        ///
        closed;

        /// # Two levels
        ///
        /// A template's rules are the operator's: its `allow` opens even what is blocked for everybody, and its `deny` is final.
        /// A request's `deny` shuts more, and its `allow` is an exception from that alone. A change applies to connections
        /// that stand, too. A client is told that a change is made only when it is both in force and recorded.
        ///
        levels;

        /// # What is not defended
        ///
        /// - Bugs of the kernel and of the engine, which all containers share; a machine of its own per sandbox is another
        ///   runtime's business.
        /// - Side channels: the time and the load of a shared processor, disk and network.
        /// - Forged ARP among the ports of one bridge: no sandbox has `NET_RAW`, so none can send it.
        /// - Names. Rules are about addresses, and a name can lead to any address that is open.
        /// - Data that leaves through the DNS: the host's resolvers are asked on behalf of a sandbox. `deny` of their addresses
        ///   shuts that, unless they are loopback addresses of the host, where the engine asks them itself.
        /// - What an operator opens: `default` and named networks, a template's `allow`, `mounts`, `privilege_escalation`, ports
        ///   published beyond loopback.
        ///
        not_defended;
    }
}
