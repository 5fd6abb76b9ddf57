namespace Irpwright.Wdk;

// Callbacks of a cancel-safe queue (IoCsqInitialize, IoCsqInitializeEx), named and with parameters as in the WDK.

[Routine] public delegate void IO_CSQ_INSERT_IRP(PIO_CSQ Csq, PIRP Irp);

[Routine] public delegate NTSTATUS IO_CSQ_INSERT_IRP_EX(PIO_CSQ Csq, PIRP Irp, PVOID InsertContext);

[Routine] public delegate void IO_CSQ_REMOVE_IRP(PIO_CSQ Csq, PIRP Irp);

[Routine] public delegate PIRP IO_CSQ_PEEK_NEXT_IRP(PIO_CSQ Csq, PIRP Irp, PVOID PeekContext);

/// <summary><paramref name="Irql"/> points to a <c>KIRQL</c> that the routine fills.</summary>
[Routine] public delegate void IO_CSQ_ACQUIRE_LOCK(PIO_CSQ Csq, PUCHAR Irql);

[Routine] public delegate void IO_CSQ_RELEASE_LOCK(PIO_CSQ Csq, byte Irql);

[Routine] public delegate void IO_CSQ_COMPLETE_CANCELED_IRP(PIO_CSQ Csq, PIRP Irp);
