use mpimg::*;
fn main(){ 
 mpimg::sandbox::init_main();
 let a:Vec<String>=std::env::args().collect();
 let rt=tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
 let r: Result<()> = rt.block_on(async {
  let store=store::Store::open(&a[1])?;
  struct P; impl progress::Reporter for P { fn event(&self,e:progress::Event<'_>){ match e { progress::Event::Output{bytes,..}=>{use std::io::Write; std::io::stderr().write_all(bytes).unwrap()}, progress::Event::Progress{..}=>{}, e=>eprintln!("{e:?}")} } }
  let progress=if std::env::var("Q").is_ok(){progress::Progress::silent()}else{progress::Progress::new(std::sync::Arc::new(P))};
  let client=registry::Client::new(registry::ClientOptions{progress:progress.clone(),..Default::default()})?;
  let b=build::Builder::new(store.clone(),client.clone(),progress);
  let mut req=build::BuildRequest::new(&a[2]);
  if let Ok(c)=std::env::var("CODEC"){req.codec=layer::Codec::parse(&c)?}
  let push = if a.len()>3 { Some(std::sync::Arc::new(client.push(&oci::Repository::parse(&a[3])?)?)) } else {None};
  let p2=push.clone();
  let image=tokio::task::spawn_blocking(move|| { let f=move |g:store::Growing| if let Some(p)=&p2 {p.offer_growing(g,None)}; b.build(&req,Some(std::sync::Arc::new(f))) }).await.unwrap()?;
  eprintln!("built {}", image.descriptor().digest);
  eprintln!("{}", String::from_utf8_lossy(image.config_bytes()));
  if let Some(p)=push { for l in image.layers(){p.offer(l)} let p=std::sync::Arc::try_unwrap(p).ok().unwrap(); let d=p.finish(image.config_bytes().clone(), image.manifest_bytes().clone(), image.descriptor().media_type.clone(), &[oci::Tag::parse("t")?]).await?; println!("{d:?}"); }
  let rec=image.write_to_store(&store).await?; store.tag(&oci::Reference::parse("drive")?, &rec)?;
  Ok(()) });
 if let Err(e)=r { eprintln!("error: {e}\n {:?}\n hint {:?} {:?}", e.causes(), e.hint(), e.snippet()); std::process::exit(1) }
}
